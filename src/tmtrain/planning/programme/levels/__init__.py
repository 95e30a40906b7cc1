"""The programme solved level by level: few bins and few rows first, then the rest from the basis of these."""
