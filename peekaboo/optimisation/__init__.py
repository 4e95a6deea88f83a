"""The optimisation of alphas: objective, guard, settling, and the module around them."""
