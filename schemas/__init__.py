"""The contract: Avro by subject, code lists, policies and deadlines as data, topics, codec, registry client."""
