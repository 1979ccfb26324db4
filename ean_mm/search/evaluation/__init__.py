"""How a mask is judged: in a supernet, or by training it; and what counts as better."""
