"""Request and response bodies, examples, error codes, and the OpenAPI document made of them."""
