"""kubectl-rightsizer: what the operator found, why, and the approval of it. Client-only; works with the user's own
rights."""

__version__ = "0.1.0"
