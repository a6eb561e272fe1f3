"""From what agents left in the deposit area to what is known of each expected backup."""
