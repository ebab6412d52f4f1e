"""Training: recipes, the training loop, augmentation, distillation, the linear probe."""
