"""Integer files: static graphs of int8 codes whose parameters are the steps that were trained."""
