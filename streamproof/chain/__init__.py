"""What joins the stages: the servers started, jobs looked after, questions to servers and stages."""
