"""autograd's tape around our ops, and how one knows that gradients are right."""
