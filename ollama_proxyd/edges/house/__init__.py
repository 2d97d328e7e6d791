"""Other machines of the house: keys, pairing, mDNS, the door for paired machines, and what they tell."""
