"""Azure's surfaces, as the simulated tenant answers them: one module a service, plain functions from a call to an answer."""
