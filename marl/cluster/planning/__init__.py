"""How children share one policy where the user does not say it: what is measured, and the model that decides."""
