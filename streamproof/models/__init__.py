"""Models of a question's answers: each answer is scored by those before it, and then learned."""
