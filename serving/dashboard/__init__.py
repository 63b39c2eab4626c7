"""The dashboard: pages whose figures come from the HTTP API beside it."""
