"""Head models fitted to landmarks, many faces at once.

landmarks (B, 68, 2 or 3) --closed form--> pose of the mean head --Gauss-Newton--> pose, coefficients, residual
"""
