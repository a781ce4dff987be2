"""The same windows by other means, each as its users write it: how the project's own way compares."""
