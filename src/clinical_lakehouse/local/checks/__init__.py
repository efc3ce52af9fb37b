"""What `bundle check` finds wrong in a bundle, one module for each kind of fault."""
