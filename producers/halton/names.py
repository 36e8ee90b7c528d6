"""Names and streets to invent people from. Common English names; nobody in particular is meant."""

from __future__ import annotations

from typing import Final


def _listed(text: str) -> tuple[str, ...]:
    """Names parted by blanks, or by `|` where they hold blanks."""
    return tuple(text.split("|") if "|" in text else text.split())


GIRLS: Final = _listed(
    "Olivia Amelia Isla Ava Mia Ivy Lily Freya Florence Willow Rosie Sophia Isabella Grace Daisy Sienna Poppy Elsie "
    "Emily Ella Evelyn Phoebe Evie Charlotte Harper Millie Matilda Maya Sophie Alice Emilia Isabelle Ruby Luna "
    "Maisie Aria Penelope Mila Bonnie Eva Hallie Eliza Ada Violet Esme Arabella Imogen Jessica Delilah Chloe Lottie "
    "Lola Nancy Scarlett Summer Hannah Holly Amber Jasmine Lucy Georgia Molly Abigail Zara Erin Leah Martha Rose "
    "Eleanor Darcie Skye Niamh Paige Courtney Shannon Caitlin Bethany Megan Lauren Katie Elizabeth Victoria Rebecca "
    "Natasha Kayleigh Demi Amy Aisha Fatima Maryam Zofia Oliwia Nikola Maja Khadija"
)
"""Given names, commoner first."""

BOYS: Final = _listed(
    "Noah Oliver George Arthur Muhammad Leo Harry Oscar Archie Henry Theodore Freddie Jack Charlie Alfie Theo Jacob "
    "Finley Thomas Isaac Arlo William Lucas James Edward Louie Tommy Roman Rory Albie Logan Alexander Max Joshua "
    "Hunter Reuben Mason Joseph Teddy Ethan Sebastian Adam Samuel Daniel Elijah Luca Benjamin Grayson Jude Reggie "
    "Riley Ezra Ronnie Toby Jaxon Frankie David Stanley Bobby Harrison Jayden Tyler Callum Connor Kian Kyle Liam "
    "Ryan Nathan Cameron Declan Reece Ellis Owen Dylan Lewis Michael Matthew Luke Aaron Jamie Bradley Corey Brandon "
    "Kieran Jordan Jake Anthony Christopher Ali Ibrahim Yusuf Jakub Filip Szymon Oskar Kacper"
)
"""Given names, commoner first."""

FAMILY: Final = _listed(
    "Smith Jones Williams Taylor Davies Evans Thomas Roberts Johnson Hughes Wilson Edwards Wright Robinson Walker "
    "Green Hall Wood Jackson Clarke Harrison Lewis Thompson White Martin Turner Hill Cooper Ward Morris Moore Clark "
    "Lee King Baker Harris Allen Morgan Scott Parker Bennett Shaw Ellis Carter Bailey Cox Collins Bell Murphy Kelly "
    "Griffiths Richardson Foster Owen Marshall Simpson Chapman Webb Rogers Hunt Mills Palmer Holmes Powell Knight "
    "Barnes Fletcher Lowe Stevens Jenkins Price Fisher Butler Reynolds Saunders Atkinson Lawson Fox Pearson Gibson "
    "Mason Burke Doyle Byrne Gallagher Molyneux Rimmer Ashton Houghton Leigh Lunt Dutton Rigby Winstanley Tickle "
    "Sefton Lyon Birchall Critchley Pickering Heyes Hewitt Swift Yates Whitfield Naylor Gorman Duffy Farrell Keegan "
    "Maddox Naughton Okafor Ahmed Khan Hussain Begum Ali Patel Singh Kowalski Nowak Wisniewski Zielinska Mensah "
    "Adeyemi Chen Wong Popescu"
)
"""Family names, commoner first."""

NICKNAMES: Final = {
    "Olivia": "Liv", "Isabella": "Bella", "Charlotte": "Charlie", "Matilda": "Tilly", "Sophie": "Soph", "Isabelle": "Izzy",
    "Eleanor": "Ellie", "Elizabeth": "Beth", "Abigail": "Abi", "Jessica": "Jess", "Rebecca": "Becky", "Victoria": "Tori",
    "Bethany": "Beth", "Megan": "Meg", "Katie": "Kate", "Natasha": "Tash", "Georgia": "George", "Eliza": "Liza",
    "Emily": "Em", "Oliver": "Ollie", "Theodore": "Teddy", "Thomas": "Tom", "William": "Billy", "Joshua": "Josh",
    "Alexander": "Alex", "Joseph": "Joe", "Samuel": "Sam", "Daniel": "Danny", "Benjamin": "Ben", "Edward": "Ed",
    "Jacob": "Jake", "Harrison": "Harry", "Michael": "Mikey", "Matthew": "Matt", "Anthony": "Tony", "Christopher": "Chris",
    "James": "Jay", "Nathan": "Nate", "Muhammad": "Mo", "Cameron": "Cam", "Bradley": "Brad", "Jakub": "Kuba",
    "Frankie": "Frank", "Freddie": "Fred", "Archie": "Arch",
}  # fmt: skip
"""What a friend, and so an officer on the street, may call them."""

TWINS: Final = (
    ("Ellie", "Ella", "F"), ("Mia", "Maia", "F"), ("Lily", "Lilly", "F"), ("Erin", "Eryn", "F"), ("Ava", "Eva", "F"),
    ("Hannah", "Hanna", "F"), ("Jayden", "Jaydon", "M"), ("Callum", "Calum", "M"), ("Reece", "Rhys", "M"),
    ("Luca", "Lucas", "M"), ("Ethan", "Nathan", "M"), ("Harry", "Henry", "M"), ("Kian", "Kieran", "M"),
    ("Adam", "Aidan", "M"), ("Lola", "Lila", "F"),
)  # fmt: skip
"""Given names near enough to be taken for one another, with the sex of both."""

STREETS: Final = _listed(
    "Larkspur Road|Tanners Lane|Old Ferry Road|Saltworks Street|Viaduct Street|Chapel Croft|Bridgefoot|Heron Drive|"
    "Kingfisher Close|Quarry Bank|Limekiln Row|Gantry Lane|Lock Lane|Towpath Avenue|Silverbirch Way|Ravensdale|"
    "Fernhill Road|Meadow Rise|Orchard Close|Windmill Brow|Priory Walk|Castle View|Weir Street|Alder Grove|"
    "Rowan Close|Hawthorn Avenue|Blackthorn Road|Sandstone Rise|Marsh Lane|Packet Street|Ironbridge View|Dock Street|"
    "Sailors Way|Glassworks Road|Sidings Close|Copperfield Road|Elder Gardens|Swallowfield|Moorgate Walk|"
    "Halfpenny Lane|Whitegate Drive|Beechcroft|Lindale Road|Thornfield|Brookway|Canalside|Pool Hollow"
)
"""Invented streets."""

PLACES: Final = (
    "the bus station", "the shopping precinct", "a friend's flat", "the canal side", "a retail park", "the railway station",
    "an address in Liverpool", "an address in Warrington", "a park", "a takeaway", "a hotel outside the borough",
    "the skate park",
)  # fmt: skip
"""Where children are last seen, and found."""
