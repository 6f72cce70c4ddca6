"""Skills: plain async functions over a client. Every answer that can be checked is checked."""
