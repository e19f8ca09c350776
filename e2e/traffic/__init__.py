"""The demo's users: requests at a constant Poisson rate to a Service, or a closed loop that finds what one engine can
do.
"""
