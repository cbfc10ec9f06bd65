"""All that describes the package is in setup.cfg. Older setuptools pass over it, or over parts, and would install an empty
UNKNOWN."""
import sys

import setuptools

if [int(number) for number in setuptools.__version__.split('.')[:2]] < [31, 0]:
    sys.exit('SideLB needs setuptools 31 or newer to be installed, this is {0}: '
             'pip install --upgrade "pip<21" "setuptools<45" wheel'.format(setuptools.__version__))

setuptools.setup()
