"""The planning problem as families of columns and rows; `tmtrain.planning.programme.model` has the legend."""
