"""From shares to pages and times: transfers, and what they should cost."""
