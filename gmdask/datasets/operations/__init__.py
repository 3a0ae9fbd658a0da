"""What makes datasets of others: cut, projected, masked, stacked."""
