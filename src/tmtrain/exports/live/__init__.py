"""An exported plan applied to a live model. Imports torch: `import tmtrain.exports` alone does not."""
