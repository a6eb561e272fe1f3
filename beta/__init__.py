"""Beta programmes: feedback of participants, and the verdict on whether a product is ready."""
