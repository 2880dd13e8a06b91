"""The embedded world: tasks whose right answers a program knows, and a small base model that knows the tasks."""
