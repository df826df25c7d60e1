"""The domain and its adapters; knows no orchestrator."""
