"""The workload of the G10 artifact: its tables read strictly, and its step as a Trace. Knows no schema of torch."""
