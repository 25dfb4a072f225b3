"""How each set of weights came to be, one recipe per network. Never imported by the product."""
