"""Features of every training image under the frozen backbone."""
