"""The parts of the synthetic street: camera, meshes, textures, props, world, light, renderer."""
