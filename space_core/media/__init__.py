"""Reading and writing of files: audio, images, video, synthesized speech, and the labels that videos carry."""
