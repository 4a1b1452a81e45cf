"""Examples in the help of the commands, by the name of the command."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "segment": (
        "segment scan.nii.gz --box 60 70 30 140 150 90 -o mask.nii.gz",
        "segment scan.nii.gz --scribbles scribbles.nii.gz --box liver.mrk.json --box-label 5 -o mask.nii.gz",
        "segment scans --scribbles 'drawn/{name}.nii.gz' --jobs 2 -o masks",
    ),
    "propagate": (
        "propagate scan.nii.gz --slices drawn.nii.gz -o mask.nii.gz --confidence sure.nii.gz",
        "propagate scan.nii.gz --slices drawn.nii.gz --annotated 0,6,12 --preset ct -o mask.nii.gz",
        "propagate scans --slices 'drawn/{name}.nii.gz' -o 'masks/{name}.nrrd'",
    ),
    "suggest": (
        "suggest scan.nii.gz --slices drawn.nii.gz",
        "suggest scan.nii.gz --slices drawn.nii.gz --count 5 --along k --json",
    ),
    "casebook": ("casebook init study --label 1=liver", "casebook add study scans"),
    "casebook init": ("casebook init study --label 1=liver --label 2=spleen",),
    "casebook check": ("casebook check study --repair",),
    "casebook add": (
        "casebook add study scans --pattern '*_image.nii.gz'",
        "casebook add study more/scan.nii.gz --split test",
    ),
    "casebook ignite": ("casebook ignite study --images labelled/images --labels labelled/masks --names labels.json",),
    "casebook list": ("casebook list study", "casebook list study --json"),
    "casebook next": ("casebook next study --order uncertain", "casebook next study --batch --order diverse"),
    "casebook status": ("casebook status study",),
    "casebook accept": (
        "casebook accept study scan mask.nii.gz --scribbles scribbles.nii.gz",
        "casebook accept study scan --absent",
        "casebook accept study scan --verified liver --verified spleen:0-12,15 --not-there 3",
    ),
    "casebook skip": ("casebook skip study scan",),
    "casebook reopen": ("casebook reopen study scan",),
    "casebook export": ("casebook export study masks --form seg.nrrd", "casebook export study effort.csv --effort"),
    "learn": (
        "learn study",
        "learn study --low-priority",
        "learn study --versions",
        "learn study --network sustainer",
        "learn study --from scribbles",
    ),
    "train": ("train prompted -o weights", "train scribbles --images scans --scribbles drawn -o heart"),
    "train prompted": ("train prompted -o weights",),
    "train pnet": ("train pnet -o weights",),
    "train pcnet": ("train pcnet -o weights",),
    "train scribbles": (
        "train scribbles --images scans --scribbles drawn -o heart",
        "train scribbles --images acdc --scribbles acdc --unmarked 4 --background 0 --patient 'patient[0-9]+' -o heart",
    ),
    "demo": ("demo -o demo_output",),
    "benchmark": ("benchmark --data data --quick", "benchmark --images scans --labels masks --users robot"),
}
"""Every command has a line here, except ``worker``, which nobody types."""
