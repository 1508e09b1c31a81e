"""``mtpeft data``: commands about data sets, a module each."""

DESCRIPTION = 'Look at data sets, and make them.'

#: name of a module here -> what it does
COMMANDS = {
    'check': 'walk a data set, report what is missing or broken',
    'browse': 'draw samples after their transforms',
    'bench': 'measure how fast pictures are loaded, step by step',
    'cache': 'read labels that are slow to read once, for all runs',
    'scenes': 'write rendered scenes in the layout of PASCAL-Context or NYUDv2',
    'nyudv2': 'build the layout of NYUDv2 from its original files',
}
