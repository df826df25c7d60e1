"""What each stage of a session does with carrier and database, without an orchestrator."""
