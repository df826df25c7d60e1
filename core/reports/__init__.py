"""Totals, workbook and result files (R1, R2)."""
