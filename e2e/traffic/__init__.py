"""The demo's users: requests at a constant Poisson rate to a Service."""
