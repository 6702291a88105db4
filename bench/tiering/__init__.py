"""What tiering is worth: real programs on a virtual node with memory tiers, timed by the memory clock (csrc/tierclock).

`python -m tiering` on the host boots, measures and reports; `tiering.inside` runs on the virtual node.
"""
