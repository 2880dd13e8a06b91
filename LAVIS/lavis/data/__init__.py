"""From the files of VQAv2, GQA, COCO and LAVIS, or anybody's own, to rows for training and evaluation."""
