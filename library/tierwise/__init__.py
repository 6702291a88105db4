"""The ground floor of Tierwise: its words (tiers, requests, plans), its wire messages, configuration and clients.

Everything above imports this; this imports none of it.
"""

__version__ = "0.1.0"
