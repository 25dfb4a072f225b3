"""Stage 1: from speech to posed landmarks."""
