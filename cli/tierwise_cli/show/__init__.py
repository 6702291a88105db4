"""From messages to what a person looks at. Pure: values in, rich renderables out; nothing here asks anybody."""
