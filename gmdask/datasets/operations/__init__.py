"""Operations that derive datasets from others: cutting, projecting, masking, stacking."""
