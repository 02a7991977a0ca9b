"""Tools that a model may have called: typed both ways, called over HTTP, never trusted to be there."""
