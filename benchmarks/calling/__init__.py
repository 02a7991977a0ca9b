"""What one call to a model costs the caller: Penstock's attempt path beside a bare loop and LiteLLM's Router."""
