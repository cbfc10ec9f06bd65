"""One balancer, made of the parts that lie below."""
