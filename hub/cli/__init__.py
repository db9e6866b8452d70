"""`axle`: one module a command group. Commands parse, call one function, print."""
