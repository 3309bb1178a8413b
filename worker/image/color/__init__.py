"""From the colours of a file to sRGB: code points, profiles, conversion, the ground of transparent pictures."""
