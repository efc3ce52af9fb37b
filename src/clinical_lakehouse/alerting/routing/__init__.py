"""Who is told, and what keeps quiet: the part that is as in Alertmanager, judged by it."""
