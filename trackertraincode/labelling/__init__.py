"""Labels made from other labels and by models, and a look at how much they disagree.

file with landmarks --fit--> pose, head, shape     file --pseudo--> what models say     file, models --review--> page
"""
